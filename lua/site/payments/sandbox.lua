--- The provider of test sites: a page of our own where the outcome is chosen (lua/site/sandbox.lua).
local sandbox = { name = "sandbox" }

function sandbox.label(t) return t("sandbox.title") end

function sandbox.begin(order) return "/sandbox/pay/" .. order.public_id end

function sandbox.refund(_, refund) return "done", "sandbox-refund-" .. refund.id end

return sandbox
