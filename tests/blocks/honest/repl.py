# An interpreter that was asked for.
import code
code.interact(banner="", exitmsg="")
