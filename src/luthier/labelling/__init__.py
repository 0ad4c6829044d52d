"""Labels made with people: what is suggested, what is asked next, how far people agree, which labels are likely wrong."""
