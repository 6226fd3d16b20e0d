"""What a customer may ask for: everything the service holds of it, and that this ends. For operators of its tenant."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from service.api.authentication import requires
from service.api.problems import documented
from service.application.errors import Invalid
from service.application.identity import Caller, Role
from service.application.text import Name

router = APIRouter()
Operator = Annotated[Caller, requires(Role.OPERATOR)]
PRIVATE = {"Cache-Control": "no-store"}


class CustomerRequest(BaseModel):
    """The customer as requests named it. `tenant` must be the operator's own: said twice, so that it is no mistake."""

    model_config = ConfigDict(extra="forbid")

    customer_ref: Annotated[Name, Field(min_length=1)]
    tenant: Name

    def for_(self, operator: Caller) -> str:
        """The customer. Raises `Invalid` when the operator belongs to another tenant."""
        if self.tenant != operator.tenant:
            raise Invalid("this key belongs to another tenant: use that of an operator of the customer's tenant")
        return self.customer_ref


class EraseRequest(CustomerRequest):
    """With `dry_run` nothing is erased; the answer tells what would be."""

    dry_run: Annotated[bool, Field(strict=True)] = False


@router.post("/v1/privacy/export", responses=documented(400, 401, 403, 413, 422, 503))
async def export_customer(request: Request, asked: CustomerRequest, operator: Operator) -> JSONResponse:
    """Every decision about what the customer sent, with payload, review and effect."""
    found = await request.app.state.service.export_customer(operator, asked.for_(operator))
    return JSONResponse(found, headers=PRIVATE)


@router.post("/v1/privacy/erase", responses=documented(400, 401, 403, 413, 422, 503))
async def erase_customer(request: Request, asked: EraseRequest, operator: Operator) -> JSONResponse:
    """Erase what the customer wrote wherever it is. Answers with counts and with what is out of reach."""
    report = await request.app.state.service.erase_customer(operator, asked.for_(operator), asked.dry_run)
    return JSONResponse(report, headers=PRIVATE)
