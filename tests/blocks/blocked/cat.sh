: > blocking
cat
