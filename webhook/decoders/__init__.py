"""Sources are decoded in processes that may die: each knows the codecs, and nothing else.

pool.py is the service's side; zygote.py forks the helpers, helper.py is what each of them does,
confinement.py what none of them can do. Nothing is imported here: helpers begin here, too.
"""
