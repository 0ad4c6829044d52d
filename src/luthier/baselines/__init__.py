"""What a fine-tune is compared with honestly; one file is one baseline."""
