"""What the np-RNN paper did, prints and claims.

Talathi & Vartak 2015, "Improving performance of recurrent neural network with ReLU nonlinearity",
arXiv:1511.03771. Nets have the names of this program: the paper's iRNN is `scaled-irnn`.
"""
