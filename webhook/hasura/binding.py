"""Which table, action and triggers of Hasura this service serves."""

import hashlib
from dataclasses import dataclass

from webhook.settings import RowSettings

_MAX_TRIGGER_NAME = 42  # Hasura's own limit
_DIGEST_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Binding:
    """The names by which Hasura's calls are known to be for us.

    Attributes:
        schema: Of the table.
        table: Its name in the database.
        id_column: Its key, as events name it.
        action: The action's name.
    """

    schema: str = "public"
    table: str = "images"
    id_column: str = "id"
    action: str = "removeBackground"

    @property
    def trigger(self) -> str:
        """Name of the event trigger on inserts."""
        return self._name_trigger("remove_background")

    @property
    def delete_trigger(self) -> str:
        """Name of the event trigger on deletions, of those who want one."""
        return self._name_trigger("remove_cutouts")

    def _name_trigger(self, purpose: str) -> str:
        """Name a trigger; all of a Hasura's have different names, whatever their tables."""
        table = self.table if self.schema == "public" else f"{self.schema}_{self.table}"
        name = f"{table}_{purpose}"
        if len(name) <= _MAX_TRIGGER_NAME:
            return name
        digest = hashlib.sha256(table.encode()).hexdigest()[:_DIGEST_DIGITS]
        room = _MAX_TRIGGER_NAME - len(f"_{digest}_{purpose}")
        return f"{table[:room]}_{digest}_{purpose}"


USUAL_BINDING = Binding()
"""What migrations/ and hasura_metadata/ make."""


def binding_of(settings: RowSettings) -> Binding:
    """Return the names that the settings give."""
    schema, _, table = settings.table.partition(".")
    return Binding(schema, table, settings.id_column, settings.action_name)
