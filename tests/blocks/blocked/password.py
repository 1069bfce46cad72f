import getpass
open("blocking", "w").close()
getpass.getpass("Password: ")
