"""The values that conditions in text name, and the thread that looks them up on the machine."""
