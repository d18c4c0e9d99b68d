"""How is what is written said? Numbers, dates, addresses and the like as words, with the way back."""
