"""Where trials run: in this process, in processes of this machine, on other machines."""
