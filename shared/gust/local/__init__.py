"""The local stack: the same template on an emulator of AWS."""
