"""How the figures of a report are made, in sentences, and the papers that they follow."""

import re
from typing import Any

from classify.report_blocks import Facts, ReportData, ReportTable, Sentences, shown

PAPERS = {
    "Bertinetto et al. 2020": "Making better mistakes: leveraging class hierarchies with deep "
    "networks. CVPR",
    "Brier 1950": "Verification of forecasts expressed in terms of probability. Monthly Weather "
    "Review 78(1), 1–3",
    "Cox 1958": "The regression analysis of binary sequences. Journal of the Royal Statistical "
    "Society B 20(2), 215–242",
    "Deng et al. 2010": "What does classifying more than 10,000 image categories tell us? ECCV",
    "Efron 1979": "Bootstrap methods: another look at the jackknife. Annals of Statistics 7(1), "
    "1–26",
    "Efron 1987": "Better bootstrap confidence intervals. Journal of the American Statistical "
    "Association 82(397), 171–185",
    "El-Yaniv & Wiener 2010": "On the foundations of noise-free selective classification. Journal "
    "of Machine Learning Research 11, 1605–1641",
    "Fisher 1936": "The use of multiple measurements in taxonomic problems. Annals of Eugenics "
    "7(2), 179–188",
    "Geifman et al. 2019": "Bias-reduced uncertainty estimation for deep neural classifiers. ICLR",
    "Genest & Zidek 1986": "Combining probability distributions: a critique and an annotated "
    "bibliography. Statistical Science 1(1), 114–135",
    "Guo et al. 2017": "On calibration of modern neural networks. ICML",
    "Hastie & Tibshirani 1996": "Discriminant adaptive nearest neighbor classification. IEEE "
    "Transactions on Pattern Analysis and Machine Intelligence 18(6), 607–616",
    "Hendrycks & Dietterich 2019": "Benchmarking neural network robustness to common corruptions "
    "and perturbations. ICLR",
    "Hendrycks et al. 2022": "Scaling out-of-distribution detection for real-world settings. ICML",
    "Hestness et al. 2017": "Deep learning scaling is predictable, empirically. arXiv:1712.00409",
    "Ke et al. 2017": "LightGBM: a highly efficient gradient boosting decision tree. NeurIPS",
    "Kiritchenko et al. 2006": "Learning and evaluation in the presence of class hierarchies: "
    "application to text categorization. Canadian Conference on AI",
    "Liu et al. 2020": "Energy-based out-of-distribution detection. NeurIPS",
    "Radford et al. 2021": "Learning transferable visual models from natural language supervision. "
    "ICML",
    "Rao & Wu 1988": "Resampling inference with complex survey data. Journal of the American "
    "Statistical Association 83(401), 231–241",
    "Romano et al. 2020": "Classification with valid and adaptive coverage. NeurIPS",
    "Sadinle et al. 2019": "Least ambiguous set-valued classifiers with bounded error levels. "
    "Journal of the American Statistical Association 114(525), 223–234",
    "Sun et al. 2022": "Out-of-distribution detection with deep nearest neighbors. ICML",
    "Vovk 2012": "Conditional validity of inductive conformal predictors. ACML",
    "Vovk et al. 2005": "Algorithmic learning in a random world. Springer",
    "Wang et al. 2019": "SimpleShot: revisiting nearest-neighbor classification for few-shot "
    "learning. arXiv:1911.04623",
    "Wilson 1927": "Probable inference, the law of succession, and statistical inference. Journal "
    "of the American Statistical Association 22(158), 209–212",
    "Zhang et al. 2022": "Tip-Adapter: training-free adaption of CLIP for few-shot "
    "classification. ECCV",
}
HEADS = {
    "logreg": "logistic regression (Cox 1958)",
    "knn": "nearest neighbours in a metric that forgets what varies within classes "
    "(Hastie & Tibshirani 1996)",
    "centroid": "nearest class mean of centred vectors (Wang et al. 2019)",
    "lda": "linear discriminant analysis (Fisher 1936) with a shrunken covariance",
    "lgbm": "gradient-boosted trees over candidate classes (Ke et al. 2017)",
    "lgbm-columns": "gradient-boosted trees over columns of the vectors (Ke et al. 2017)",
    "zeroshot": "the likeness of a photo to the names of the classes (Radford et al. 2021)",
    "tip": "names of the classes beside training photos that vote (Zhang et al. 2022)",
    "stack": "a logarithmic pool of several heads' probabilities (Genest & Zidek 1986)",
}
_SEEN = ": seen in training"  # as `report_model.model` names the fact


def methods(data: ReportData) -> list[str]:
    """Paragraphs: the model, then how the figures of this report are made, with short citations."""
    made = {
        "ranks": "The probability of a higher taxon is the sum over the classes in it (Deng et al. "
        "2010). Hierarchical precision and recall compare an answer and the truth together with "
        "all taxa above them (Kiritchenko et al. 2006); an error's distance is the number of ranks "
        "to the lowest taxon that both share (Bertinetto et al. 2020).",
        "calibration": "Recalibration (Guo et al. 2017), thresholds and conformal sets are fitted "
        "on the out-of-fold predictions and only judged on the photos held out. Sets of classes "
        "hold the truth as often as wanted where new photos are like the old (Vovk et al. 2005): "
        "LAC makes the smallest (Sadinle et al. 2019), APS larger ones where it is unsure (Romano "
        "et al. 2020), class by class asks it of every class (Vovk 2012). The risk-coverage curve "
        "answers only the surest photos (El-Yaniv & Wiener 2010; Geifman et al. 2019).",
        "unknown": "For strangers, whole classes are left out of the training and shown "
        "afterwards; scores are the highest probability or logit (Hendrycks et al. 2022), the "
        "energy (Liu et al. 2020) and the nearness of training photos (Sun et al. 2022).",
        "robustness": "Worse photos are the same photos, made worse and encoded again (after "
        "Hendrycks & Dietterich 2019); changes are paired.",
        "leaks": "The leak report predicts the same photos twice with training sets of the same "
        "size: once with whole groups held out, once at random; the interval of the difference is "
        "a bootstrap over groups, widened where there are few (Rao & Wu 1988).",
        "curves": "In the learning curve the photos that train are cut to n of each class, and the "
        "photos held out stay the same; a law in the number of photos (Hestness et al. 2017) is "
        "only used where the points follow it.",
    }
    there = {section.key for section in data.sections}
    extra = [words for key, words in made.items() if key in there]
    return [_model(data), _figures(data), *([" ".join(extra)] if extra else [])]


def references(lines: list[str], data: ReportData) -> list[str]:
    """The papers that `lines` cite, and those of the encoders, by name."""
    said = "\n".join(lines)
    ours = [f"{key}. {title}." for key, title in PAPERS.items() if key in said]
    theirs = [
        f"{line.rstrip('.')}."
        for block in _blocks(data, "cite", Sentences)
        for line in block.lines[1:]
    ]
    return sorted(ours + theirs, key=str.casefold)


def facts_of(data: ReportData, key: str) -> dict[str, str]:
    """What the chapter `key` states, name by name."""
    return {name: value for block in _blocks(data, key, Facts) for name, value in block.pairs}


def _model(data: ReportData) -> str:
    done = facts_of(data, "done")
    head = done.get("Head", "")
    name, _, _ = head.partition(":")
    members = re.findall(r"[\w-]+", head.rpartition("(")[2]) if name == "stack" else []
    of = [HEADS[one] for one in dict.fromkeys(members) if one in HEADS and one != name]
    said = (
        f"Every photo becomes a vector by {_encoders(data)}; the weights of the encoder are not "
        f"changed. On these vectors the head {name or '?'} is fitted: {HEADS.get(name, head)}"
    )
    said += f", here of {'; '.join(of)}. " if of else ". "
    fitted, folds = done.get("Fitted on"), done.get("Chosen and tuned on")
    if fitted:
        said += f"It learnt from {fitted}"
        said += f"; what had to be chosen or tuned was so on {folds}. " if folds else ". "
    seen = [
        f"{name.removesuffix(_SEEN)} has seen in its own training: {value.rstrip('.')}."
        for name, value in facts_of(data, "model").items()
        if name.endswith(_SEEN)
    ]
    return said + " ".join(seen)


def _encoders(data: ReportData) -> str:
    for table in _blocks(data, "model", ReportTable):
        place = {column.name: i for i, column in enumerate(table.columns)}
        if "architecture" in place and "numbers" in place and table.rows:
            return " and ".join(
                f"{row[place['encoder']]} ({row[place['architecture']]}, "
                f"{shown(row[place['numbers']], 'count')} numbers a photo)"
                for row in table.rows
            )
    return facts_of(data, "done").get("Encoders (frozen)", "a frozen encoder")


def _figures(data: ReportData) -> str:
    part = data.about.get("part", "test")
    return (
        f"The {part} photos are read by the evaluation alone. Out of fold means: the training "
        "photos, each predicted by a model that saw neither it nor its group. Macro-F1 is the mean "
        "of the classes' F1, so that every class counts the same; the Brier score (Brier 1950) is "
        "summed over the classes. Brackets hold 95% intervals: of figures by bootstrap over "
        "photos, or over whole groups where there are groups (Efron 1979), with percentiles "
        "corrected for skewness (Efron 1987); of the recall of one class by the score interval "
        "(Wilson 1927). "
        "Runs are compared on the same resamples; a tie is a difference whose paired interval "
        "includes 0. The intervals take the model and the split as they are."
    )


def _blocks(data: ReportData, key: str, kind: type[Any]) -> list[Any]:
    return [
        block
        for section in data.sections
        if section.key == key
        for block in section.blocks
        if isinstance(block, kind)
    ]
