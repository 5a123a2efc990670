"""What is served: the model folder (contract 1), its prompt, and how text becomes token ids and back."""
