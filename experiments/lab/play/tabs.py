"""The sessions of all open tabs: one each, and no more than memory has room for."""

from __future__ import annotations

import threading
from collections import OrderedDict

from experiments.lab.play.session import Session

MOST_TABS = 100  # about 3 MB each


class Tabs:
    """Sessions by the name of their tab; of too many, the one unused for longest is dropped."""

    def __init__(self, most: int = MOST_TABS, seed: int = 0) -> None:
        self.most, self.seed = most, seed
        self.lock = threading.Lock()
        self.sessions: OrderedDict[str, Session] = OrderedDict()

    def of(self, tab: str) -> Session:
        """The session of a tab, a new one where it has none."""
        with self.lock:
            session = self.sessions.get(tab)
            if session is not None:
                self.sessions.move_to_end(tab)
        return session if session is not None else self.put(tab, Session(self.seed), keep=True)

    def put(self, tab: str, session: Session, keep: bool = False) -> Session:
        """Make this the tab's session; with `keep`, unless it has one by now. The tab's session."""
        with self.lock:
            if not keep or tab not in self.sessions:
                self.sessions[tab] = session
            self.sessions.move_to_end(tab)
            while len(self.sessions) > self.most:
                self.sessions.popitem(last=False)
            return self.sessions[tab]

    def close(self, tab: str) -> None:
        """Forget a tab."""
        with self.lock:
            self.sessions.pop(tab, None)
