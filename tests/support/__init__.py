"""What tests share: virtual time, speech, checks."""
