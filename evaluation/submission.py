"""Kaggle's submission: six rows a slice, `ID_<slice>_<subtype>,<probability>`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from settings.errors import BadArtifact, BadInput

SUBTYPES = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "any")  # Kaggle's order


def submission_csv(
    ids: Sequence[str],
    probabilities: npt.NDArray[Any],
    labels: Sequence[str],
    order: Sequence[str] | None = None,
) -> str:
    """The content of the file. `ids`: `ID_…` of n slices; `probabilities`: n×6, columns as `labels`, 0 … 1.

    `order`: the `ID` column of the sample submission, whose rows the file must have, each once; without it slices come
    as given and subtypes in Kaggle's order. Answers for slices outside `order` are left out. Raises BadArtifact for
    hashed or repeated ids and for what is no probability, BadInput for a row of `order` without an answer.
    """
    if set(labels) != set(SUBTYPES) or probabilities.shape != (len(ids), len(SUBTYPES)):
        raise BadArtifact(f"submission: needs n×6 answers for {', '.join(SUBTYPES)}, has {probabilities.shape}")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise BadArtifact("submission: an answer is not within 0 … 1; train the head again")
    if odd := next((id_ for id_ in ids if not id_.startswith("ID_")), None):
        raise BadArtifact(f"submission: slice '{odd}' is no ID_…; Kaggle needs prepare_ct.ids: rsna")
    if len(set(ids)) < len(ids):
        raise BadArtifact("submission: a slice has two answers; each must come once")
    columns = [labels.index(name) for name in SUBTYPES]
    names = [f"{id_}_{name}" for id_ in ids for name in SUBTYPES]
    values = np.asarray(probabilities, dtype=np.float64)[:, columns].ravel().tolist()
    if order is not None:
        answers = dict(zip(names, values, strict=True))
        if missing := [name for name in order if name not in answers]:
            raise BadInput(
                f"sample submission: no answer for {len(missing)} rows, first {missing[0]}; predict them too"
            )
        names, values = list(order), [answers[name] for name in order]
    return "ID,Label\n" + "".join(f"{name},{value:.9g}\n" for name, value in zip(names, values, strict=True))
