"""One head by name, ready to be fitted on some photos: for studies that save no run."""

from classify.class_texts import class_texts, text_encoder
from classify.dataset import Dataset
from classify.heads import NEED_TEXTS, make_head
from classify.model import Model
from embed.errors import UserError
from embed.workspace import Workspace


def one_head(workspace: Workspace, train: Dataset, head: str, seed: int) -> Model:
    """The head as `cli fit --head NAME` makes it; a `UserError` where there is none such."""
    if head in ("stack", "all"):
        raise UserError(
            f"'{head}' is made of several heads; take one of them, as in --head logreg."
        )
    options = {}
    if head in NEED_TEXTS:
        if text_encoder(train) is None:
            raise UserError(
                f"{head} compares photos with the names of their classes, which takes an encoder "
                "that knows words. Run `cli embed PHOTOS --encoder bioclip` first."
            )
        options = class_texts(workspace, train)
    return Model(make_head(head, random_state=seed, **options))
