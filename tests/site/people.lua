--- People and rooms for the page specs: made by the stores, signed in by the form.
local accounts = require "store.accounts"
local crypto = require "runtime.crypto"
local db = require "runtime.db"
local models = require "store.models"
local new_client = require("footlight.testing.client").new
local rooms = require "store.rooms"

-- Within the first request it would count against that request's time, which is short.
require "site"

local people = { password = "correct horse battery" }

local hash -- one for all: hashing is what takes the time

function people.name() return "t" .. crypto.hex(crypto.random_bytes(7)) end

--- account { role =, state =, verified = } → the row
function people.account(values)
  values = values or {}
  hash = hash or crypto.password_hash(people.password)
  local name = people.name()
  return accounts.create {
    name = name, email = name .. "@example.org", password_hash = hash,
    state = values.state or "active", role = values.role or "viewer",
    verified = values.verified ~= false,
  }
end

--- A client at an address of its own: how often one may try things is limited by address.
function people.client()
  return new_client {
    remote = ("2001:db8::%x:%x"):format(crypto.random_below(65536), crypto.random_below(65536)),
  }
end

--- A client that is signed in as that account.
function people.signed_in(account)
  local client = people.client()
  local page = client:get "/login"
  page = client:submit(page, { login = account.name, password = people.password }, "/login")
  assert(page.status == 200 and page:has(account.name), "signing in failed: " .. page:text())
  return client
end

--- A model whose state is `state` ("approved" unless said otherwise) with a room: model, account.
function people.model(values)
  values = values or {}
  local account = people.account()
  local slug = people.name()
  db.transaction(function(tx)
    local id = models.apply({
      account_id = account.id, slug = slug, stage_name = values.stage_name or "Model " .. slug,
      bio = "", legal_name = "Legal Name", born = "1990-01-01", agreement_version = "test",
    }, tx)
    if values.state == "submitted" then return end
    local model = models.by_id(id, tx)
    models.move({ id = id, from = model.state, version = model.state_version, to = "approved" }, tx)
    local room = rooms.by_slug(slug, tx)
    rooms.save({ model_id = id, version = room.version, title = values.title or "", bio = "",
      rate = values.rate or 0, tags = values.tags or {} }, tx)
  end)
  return models.by_slug(slug), accounts.by_id(account.id)
end

return people
