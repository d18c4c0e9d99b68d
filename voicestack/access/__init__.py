"""Who is this, may they come in, and how much may they ask for?"""
