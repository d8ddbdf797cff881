"""Cost of models (parameters, MACs), beside the cost tables of the ARC and DNR papers."""

from videozoo.report.cost import Cost, count_cost
from videozoo.report.page import format_markdown
from videozoo.report.paper_arc import PaperArcConv2d, use_paper_order
from videozoo.report.tables import load_papers, paper_report
from videozoo.report.zoo import PaperRow, ZooRow, zoo_rows

__all__ = [
    "Cost",
    "PaperArcConv2d",
    "PaperRow",
    "ZooRow",
    "count_cost",
    "format_markdown",
    "load_papers",
    "paper_report",
    "use_paper_order",
    "zoo_rows",
]
