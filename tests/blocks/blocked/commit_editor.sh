# The editor of a commit waits for its user.
export HOME=$PWD GIT_EDITOR=vi TERM=xterm
git init -q repository && cd repository
git config user.email a@b.c && git config user.name a
echo x > file && git add file
: > ../blocking
git commit
