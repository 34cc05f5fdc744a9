"""What a user would otherwise pick, each as its own documentation writes it. Run by an interpreter of their own."""
