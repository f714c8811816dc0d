"""Plan to plan: FlumeJava's passes (PLDI 2010, section 4), one rule a file; `optimize` holds their order."""
