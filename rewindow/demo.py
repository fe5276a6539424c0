"""placeholder"""

from rewindow.endpoints import Endpoints


async def show_demo(endpoints: Endpoints) -> None:
    """x"""
