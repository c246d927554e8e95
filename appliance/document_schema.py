"""JSON Schema (2020-12) of documents, as the API and docs/schema/ publish it."""

from typing import Any

from appliance.document import Document


def document_schema(model: type[Document], *, template: str = "#/$defs/{model}") -> dict[str, Any]:
    """`template` says how definitions are referred to (pydantic's ref_template)."""
    return model.model_json_schema(ref_template=template)
