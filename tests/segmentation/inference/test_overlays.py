"""Pictures of the worst and of the best cases."""

from data.drawing import GAP_PX, HEADER_PX, rgb
from data.pairs.image_io import read_image
from segmentation.inference.overlays import TILE_PX, cases, draw_cases
from segmentation.inference.predict import load_segmenter


def test_the_worst_and_the_best_cases_are_drawn(fit, make_pairs, make_row):
    scores = {f"real{n:03d}": s for n, s in enumerate((0.5, 0.1, 0.9, 0.7, 0.3, 0.8))}
    assert cases(scores) == (["real001", "real004", "real000", "real003"], ["real002", "real005", "real003", "real000"])
    real = make_pairs(6)
    folder, _ = fit("a", real, make_pairs(0, "none"), make_row())
    drawn = draw_cases(load_segmenter(folder), real, scores)
    assert drawn.shape == (GAP_PX + 2 * (TILE_PX + HEADER_PX) + HEADER_PX, GAP_PX + 4 * (TILE_PX + GAP_PX), 3)
    cells, legend = drawn[:-HEADER_PX], drawn[-HEADER_PX:]
    for name in ("mask", "prediction"):
        assert (cells == rgb(name)).all(2).any()
        assert (legend == rgb(name)).all(2).any()
    assert read_image(real.folder / real.pairs[0].image).shape == (64, 64, 3)
