"""What a trained model is worth, in numbers, in words and in pictures.

predict_logits            every example of a split once -> logits [n, classes]
classification_metrics    accuracy with its interval, loss, per class, confusion, top-5
top_losses                the examples the model is most wrong about
wilson_interval           the interval of a proportion
softmax                   logits -> probabilities, with a temperature
expected_calibration_error, reliability_bins, fit_temperature
                          is 90 % confidence right 90 % of the time, and the one number that
                          mends it
overfitting_verdict       learning curves -> a `Verdict` in words, with its numbers
baseline_accuracy         what always answering the most frequent class would reach
explain_classifier        all of this for one model: an `Explanation` for its report
grad_cam, overlay         where a convolutional network looked
summary, file_name        the last lines on the terminal; a title as a file name
write_report              one self-contained HTML page
find_runs, read_history, runs_table, compare
                          what `kapps runs` and `kapps compare` show
plots                     module of functions that return a matplotlib Figure
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["plots"],
    submod_attrs={
        "calibration": [
            "expected_calibration_error",
            "fit_temperature",
            "reliability_bins",
            "softmax",
        ],
        "classification": [
            "baseline_accuracy",
            "classification_metrics",
            "predict_logits",
            "top_losses",
            "wilson_interval",
        ],
        "explain": ["Explanation", "explain_classifier"],
        "gradcam": ["grad_cam", "overlay"],
        "report": ["write_report"],
        "history": ["read_history"],
        "runs": ["compare", "find_runs", "runs_table"],
        "terminal": ["file_name", "summary"],
        "verdict": ["Verdict", "overfitting_verdict"],
    },
)
