"""The dashboard: what data there are, what the labels look like, how good the models are, what they say where, and why.

It reads the store and MLflow and writes to neither. What a page shows is put together without Streamlit, so that it is
tested without a browser and serves ``entropice plot`` too; the pages only ask and show.

==================  ================================================================================================
``library``         one study's store, opened for reading only
``overview``        published, provisional, stale, missing; what to do next
``layers``          what can be drawn on a map, with title, unit, date, licence and digest
``scores``          leaderboard, out-of-fold tables, importances as tables
``explain``         one cell: its features, what drives its probability, the training cells most like it, digests
``tracking``        runs in MLflow, or why there are none
``words``           text, commands and tables of text; imports nothing that draws
``widgets``         how a map, a figure, a table and a choice are shown
``serve``, ``warm`` the server with what the first page needs imported; the rest after it
``app``             the Streamlit script; ``views/`` one file a page
==================  ================================================================================================
"""
