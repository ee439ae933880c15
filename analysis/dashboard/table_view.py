"""The table of the dashboard: one row a method, which sorts, pages and downloads what it shows."""

from typing import Any

import dash_ag_grid as dag
import polars as pl
from dash import html

from analysis.report.columns import columns, shown_settings

ROWS_A_PAGE = 25


def table_view(rows: pl.DataFrame, query: str) -> list[Any]:
    """Return the overview as a grid; `query` is the address that the download repeats."""
    settings = shown_settings(rows)
    shown = list(columns(rows))
    methods = rows["method"].to_list()
    widest = max(map(len, methods), default=0)
    definitions: list[dict[str, Any]] = [
        {
            "field": "method",
            "headerName": "Method",
            "pinned": "left",
            "width": min(200, 48 + 8 * widest),
            "tooltipField": "full",
        },
        *({"field": name, "headerName": name.capitalize()} for name in settings),
        *(
            {
                "field": one.name,
                "headerName": one.heading,
                "type": "rightAligned",
                # sorted by the number, read as text with its unit
                "valueFormatter": {"function": f"params.data.{one.name}_text"},
            }
            for one in shown
        ),
    ]
    told: list[dict[str, Any]] = [
        {
            "method": row["method"],
            "full": row["full"],
            **{name: str(row[name]) for name in settings},
            **{one.name: one.values[place] for one in shown},
            **{f"{one.name}_text": one.texts[place] for one in shown},
        }
        for place, row in enumerate(rows.iter_rows(named=True))
    ]
    return [
        html.H2("Table"),
        html.P(
            [
                html.A("Download as CSV", href=f"/table.csv{query}", id="download"),
                f" ({len(rows)} rows as filtered, all columns, full precision)."
                " A heading sorts; the name of a method tells its parameters.",
            ]
        ),
        dag.AgGrid(
            id="overview",
            columnDefs=definitions,
            rowData=told,
            columnSize="autoSize",
            defaultColDef={
                "sortable": True,
                "resizable": True,
                "wrapHeaderText": True,
                "autoHeaderHeight": True,
                "minWidth": 90,
            },
            dashGridOptions={
                "pagination": len(rows) > ROWS_A_PAGE,
                "paginationPageSize": ROWS_A_PAGE,
                "paginationPageSizeSelector": False,
                "domLayout": "autoHeight",
                "ensureDomOrder": True,
                "enableCellTextSelection": True,
            },
            style={"height": None},
        ),
    ]
