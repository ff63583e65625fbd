--- The provider of test sites: a page of our own where the outcome is chosen (lua/site/sandbox.lua).
local reconciliation = require "store.reconciliation"

local sandbox = { name = "sandbox" }

function sandbox.label(t) return t("sandbox.title") end

function sandbox.begin(order) return "/sandbox/pay/" .. order.public_id end

function sandbox.refund(_, refund) return "done", "sandbox-refund-" .. refund.id end

--- It keeps no books; what it has reported stands for them.
function sandbox.payments(from, to) return reconciliation.reported("sandbox", from, to) end

return sandbox
