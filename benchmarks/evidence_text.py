"""The sentences of evidence.md, which evidence_page.py writes."""

INTRODUCTION = """Both papers report gains on data sets that are not free to share, and no weights of theirs exist. Here
the same models are trained on clips that can be had, whose classes need the order of frames. All start from a ResNet-18
with ImageNet weights up to its third stage, and are trained in bfloat16 with the same recipe for the same number of
steps. Clips have 8 frames of 64 pixels. The weights of the last epoch are tested once, so nothing is chosen by the test
clips.

*Mean class* is the mean of the accuracies of the classes. *Reversed* plays the test clips backwards against their
labels: a model that ignores the order of frames keeps its accuracy. *Taken for the partner* is the share of test clips
that get the class which shows the same motion backwards. *Visible from* is the smallest true difference that the paired
t test finds in four of five cases. All numbers but p are points.

DNR-TSN shifts an eighth of the channels over time as TSM does, so on this backbone DNR-TSM is the same network: both
gave the same weights, bit by bit. What DNR itself adds is `dnr_tsn - tsm`."""
FOUND = """* **DNR adds to TSM on strokes**, in each of the five folds, and the 95 % interval excludes zero. This agrees
  with its paper.
* Most of what DNR-TSN gains on TSN is the temporal shift, which is a part of DNR-TSN. The paper prints 27.8 points on
  Something-Something V1 (17.8 to 45.6, ResNet-50, Table 4), and on strokes the gain is about as large. TSM alone has
  most of it.
* **ARC adds nothing visible on strokes**: less than a point to TSM, nothing to MSN, and TSN does not gain either. The
  paper prints +6.1 for TSM and +3.3 for MSN on Something-Something V1 (ResNet-18, Table 7). A gain of 6 points to TSM
  would have been visible on strokes, one of 3 points to MSN would not.
* **ARC adds to TSM and TSN on the hard motions**, by more than ten points for each seed, and to MSN by about five. The
  intervals of the first two exclude zero, that of MSN does not. More than order is at work: ARC-TSN ignores the order
  of frames as TSN does, and gains as much. ARC-TSM gains about 20 points on the classes that have a partner, which
  differ in order, and about 10 on the others. ARC also fits the training clips better after these five epochs, so
  longer training could narrow the gap.
* **DNR adds to TSM on the hard motions** for each seed, all of it on the classes that have a partner. With three seeds
  the interval includes zero.
* ARC-TSM, ARC-MSN and DNR-TSN take fewer clips of strokes for their partner than their bases. That fits what the papers
  say of order, but the intervals include zero. ARC-TSN takes more clips for their partner than TSN.
* **ARC from a trained TSM is as good as ARC from ImageNet weights** for as many epochs in all, in less time, as half of
  the epochs are those of the cheaper TSM. TSM alone for as many epochs is no worse than either on strokes, so twice the
  epochs do not bring out a gain of ARC there.
* **`keep_affine` does not help DNR** that starts from ImageNet weights: it is a little worse in each of three folds,
  and the interval includes zero.
* **Most parts of DNR point as in its paper**, ten of the thirteen made so far. Only two stand out on one fold. A fully
  connected layer as the relay is the worst by 13 points, as it is in the paper. Group norms cost 16 points instead of
  one, as they start from weights that were trained with batch norms. TSM with group norms did not learn from those at
  all (3 % of the training clips).
* **Of the parts of ARC** six of seventeen are made, and four point as in its paper. None of the differences is visible.
* Wrong predictions: MSN was to be within 3 points of TSM and is far below. It fits the training clips no better than
  TSN, so eight epochs are too few for it. DNR gained more on strokes than predicted,
  and ARC far more on the hard motions. DNR without any relay was to stand out and loses less than 3 points.
* Limits: eight epochs on about 640 clips leave the models at 38 to 74 % of the training clips. The folds share training
  clips, so their differences are not independent, and the intervals are somewhat too narrow."""
PREDICTION = """* TSN and ARC-TSN ignore the order of frames: ARC pools with a maximum over time, and its other maps
  see one frame. Both get about 40 to 45 on strokes, as many forwards as backwards, and take every fourth clip or more
  for its partner. DNR-TSN shifts channels over time, so it belongs to the models with order.
* TSM gets about 60 on strokes. MSN is within 3 points of it.
* ARC adds 0 to 2 points to each base, DNR 0 to 3 to TSM and 15 to TSN. The papers' gains are 1 to 6 points on far more
  clips. With five folds a difference of about 4 points is visible, so most of these gains will not be.
* Ablations on one fold see differences of 9 points or more. Only the models without any relay or order should stand
  out."""
RECIPE = """Chosen by the last epoch's accuracy on the validation clips of the first fold of strokes (86 clips, so one
clip is 1.2 points, and differences below 10 points say little).

* SGD with a rate of 0.02 lets TSM, ARC and DNR learn, and is the recipe of all runs but those of the narrow
  ResNet-18.
* With AdamW ARC learns worse, the faster its own maps move: they start at zero, and every step of AdamW is about
  as long as the rate. At 0.02 of the rate it learns as its base does, so that is the default of `finetune` there. DNR
  does not need it."""
ABLATIONS_NOTE = """On the first fold, one run each, so only differences of about 9 points or more are visible, and the
direction of a smaller one can be chance. The papers' differences are those of their own clips and models."""
EQUAL_TIME_NOTE = """Here models with an add-on have fewer epochs, so that their training takes about as long as the
eight epochs of their base."""
LONGER_NOTE = """A ResNet-18 with 32 to 96 channels, from random weights, with `{flags}`, and `{addon}` for ARC and DNR:
the flags of the bundled models (`scripts/train_bundled.py`), which were not chosen for this comparison."""
BATCHES_NOTE = """Top-1 by the number of clips a step, with the rate in proportion, on the first fold. Models whose
names end in `_gn` have group norms instead of batch norms (Table 3 of the DNR paper)."""
STARTS_NOTE = """`arc_tsm from tsm` starts from the TSM that was trained for eight epochs (`finetune --init-from`) and
has eight more, so as many in all as the models with sixteen. `keep_affine` keeps the trained scale and shift of the
norms, which the paper drops. Both models with DNR have eight epochs."""
PICTURES_NOTE = """The first test clip of the first fold that ARC-TSM gets right and TSM takes for its partner
(`evidence_pictures.py`): heat maps of both, and the evolving state of ARC."""
