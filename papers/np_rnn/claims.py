"""What the np-RNN paper claims of its experiments."""

from __future__ import annotations

from collections.abc import Mapping

from papers.book import Claim

# Of its experiments: a claim is about the scores of PRINTED's experiments of the same protocol.
RESULTS: Mapping[str, tuple[Claim, ...]] = {
    "addition": (
        Claim("the np-RNN performs at par or better than the others for T <= 300", "section 4.1"),
        Claim("at T = 400 both the IRNN and the np-RNN could be trained", "section 4.1"),
        Claim("at T = 500 the np-RNN can be trained, and no other easily", "section 4.1"),
        Claim("the oRNN and the gRNN failed to train at every length", "section 4.1"),
        Claim(
            "the nRNN and the np-tanhRNN performed relatively well for T = 150, 200, 300",
            "section 4.1",
        ),
    ),
    "multiplication": (
        Claim(
            "the np-RNN is right on more than 90 % of the test sequences at every T", "section 4.2"
        ),
        Claim("neither iRNN nor IRNN is right on more than 50 % at any T", "section 4.2"),
        Claim("the nRNN and the np-tanhRNN did fairly well at every T", "section 4.2"),
        Claim("the np-RNN in general outperforms both nRNN and np-tanhRNN", "section 4.2"),
    ),
    "mnist": (
        Claim("the IRNN could not be trained by SGD with the IRNN paper's settings", "section 4.3"),
        Claim("the np-RNN is more accurate than the IRNN after 100 and 500 epochs", "table 2"),
        Claim("the IRNN is extremely sensitive to the training protocol", "section 4.3"),
    ),
    "ucf101": (
        Claim("the LSTM is best, the np-RNN next, then the IRNN, the iRNN worst", "table 3"),
        Claim("the np-RNN's scores are closer to the LSTM's than the IRNN's are", "section 4.4"),
        Claim(
            "iRNN and IRNN depend strongly on learning rate and dropout, np-RNN and LSTM do not",
            "section 4.4, figure 6",
        ),
    ),
}
