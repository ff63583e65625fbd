-- From the application to the first key: what applicants, models and staff may do, and what not.
local audit = require "store.audit"
local models = require "store.models"
local config = require "runtime.config"
local people = dofile(config.root .. "/tests/site/people.lua")

local function application(values)
  local sent = { stage_name = "New Model", slug = people.name(), legal_name = "Legal Name",
    born = "1990-02-28", bio = "", agreement = "yes" }
  for name, value in pairs(values or {}) do sent[name] = value end
  return sent
end

local function apply(client, values)
  return client:submit(client:get "/models/apply", values, "/models/apply")
end

describe("an application", function()
  it("is submitted once it is complete, and then waits", function()
    local client = people.signed_in(people.account())
    local values = application()
    local page = apply(client, values)
    assert.equal(200, page.status)
    assert.equal("submitted", models.by_slug(values.slug).state)
    assert.is_nil(client:get("/models/apply"):form "/models/apply")
  end)

  it("is refused to those under eighteen, to the day", function()
    local client = people.signed_in(people.account())
    local today = os.date("!*t")
    local function born(days)
      return os.date("!%Y-%m-%d", os.time { year = today.year - 18, month = today.month,
        day = today.day + days, hour = 12 })
    end
    for date, status in pairs { [born(1)] = 422, ["2999-01-01"] = 422, ["1850-01-01"] = 422,
      ["1990-02-30"] = 422, ["yesterday"] = 422 } do
      assert.equal(status, apply(client, application { born = date }).status, date)
    end
    assert.equal(200, apply(client, application { born = born(0) }).status)
  end)

  it("cannot take the address of somebody else or of the site", function()
    local model = people.model()
    local client = people.signed_in(people.account())
    for _, slug in ipairs { model.slug, "admin", "Not A Slug", "-x-" } do
      assert.equal(422, apply(client, application { slug = slug }).status, slug)
    end
  end)

  it("keeps what identifies a person out of the pages of others and out of the database's text", function()
    local client = people.signed_in(people.account())
    local values = application { legal_name = "Xanthippe Quibble" }
    apply(client, values)
    local db = require "runtime.db"
    local model = models.by_slug(values.slug)
    assert.equal("Xanthippe Quibble", models.identity(model.id).legal_name)
    local row = db.one("SELECT COUNT(*) AS n FROM identity_records WHERE INSTR(legal_name_enc, ?) > 0", "Xanthippe")
    assert.equal(0, row.n)
  end)
end)

describe("staff", function()
  local admin, client
  setup(function()
    admin = people.account { role = "admin" }
    client = people.signed_in(admin)
  end)
  local function decide(model, values)
    local page = client:get("/admin/models/" .. model.slug)
    return client:submit(page, values, "/admin/models/")
  end

  it("find a model by name and state", function()
    local model = people.model { state = "submitted", stage_name = "Quentin Findable" }
    local page = client:get "/admin/models?q=findable&state=submitted"
    assert.is_truthy(page.body:find("/admin/models/" .. model.slug, 1, true))
    page = client:get "/admin/models?q=findable&state=approved"
    assert.is_nil(page.body:find("/admin/models/" .. model.slug, 1, true))
  end)

  it("approve, which the audit log remembers with who did it", function()
    local model = people.model { state = "submitted" }
    assert.equal(200, decide(model, { to = "approved" }).status)
    assert.equal("approved", models.by_slug(model.slug).state)
    local row = audit.of_target("model:" .. model.id, 1)[1]
    assert.same({ "model.approved", admin.id }, { row.action, row.actor_id })
  end)

  it("need a reason to reject", function()
    local model = people.model { state = "submitted" }
    assert.equal(422, decide(model, { to = "rejected", reason = " " }).status)
    assert.equal("submitted", models.by_slug(model.slug).state)
    assert.equal(200, decide(model, { to = "rejected", reason = "The picture is not yours." }).status)
    assert.equal("The picture is not yours.", models.by_slug(model.slug).state_reason)
  end)

  it("of two who decide at once only the first does", function()
    local model = people.model { state = "submitted" }
    local page = client:get("/admin/models/" .. model.slug)
    decide(model, { to = "in_review" })
    page = client:submit(page, { to = "approved" }, "/admin/models/")
    assert.equal(409, page.status)
    assert.equal("in_review", models.by_slug(model.slug).state)
  end)

  it("cannot make a move that the state does not allow", function()
    local model = people.model()
    assert.equal(409, decide(model, { to = "rejected", reason = "late" }).status)
    assert.equal(422, decide(model, { to = "closed", reason = "no such button" }).status)
  end)

  it("do not decide about themselves", function()
    local values = application()
    apply(client, values)
    local model = models.by_slug(values.slug)
    local page = client:get("/admin/models/" .. model.slug)
    assert.is_nil(page:form "/admin/models/")
    local token = page:form("/logout").fields.csrf_token
    page = client:post("/admin/models/" .. model.slug,
      { csrf_token = token, version = tostring(model.state_version), to = "approved" })
    assert.equal(403, page.status)
    assert.equal("submitted", models.by_slug(model.slug).state)
  end)
end)

describe("the studio", function()
  it("does not exist for those who never applied", function()
    assert.equal(404, people.signed_in(people.account()):get("/studio").status)
    assert.equal("/login", people.client():get("/studio").url:match("^[^?]*"))
  end)

  it("makes a key, shows it once, and shows another when it is rotated", function()
    local _, owner = people.model()
    local client = people.signed_in(owner)
    local function new_key()
      local page = client:submit(client:get "/studio", {}, "/studio/key")
      return page.body:match('id="new%-key"[^>]- value="([^"]+)"')
    end
    local first = new_key()
    assert.is_truthy(first)
    assert.is_nil(client:get("/studio").body:find(first, 1, true))
    local second = new_key()
    assert.is_truthy(second)
    assert.not_equal(first, second)
  end)

  it("gives no key before approval", function()
    local _, owner = people.model { state = "submitted" }
    local client = people.signed_in(owner)
    local page = client:get "/studio"
    assert.equal(403, client:post("/studio/key", page:form("/studio/key").fields).status)
  end)

  it("saves the room, with tags as people write them", function()
    local model, owner = people.model()
    local client = people.signed_in(owner)
    local page = client:submit(client:get "/studio", { title = "Tonight", tags = "Music, #Late Night, music",
      rate = "60", bio = "Line one\nLine two" }, "/studio/room")
    assert.equal(200, page.status)
    local room = require("store.rooms").by_slug(model.slug)
    assert.same({ "Tonight", 60000000 }, { room.title, room.rate })
    table.sort(room.tags)
    assert.same({ "late-night", "music" }, room.tags)
  end)

  it("refuses to save over what was changed elsewhere", function()
    local _, owner = people.model()
    local client = people.signed_in(owner)
    local page = client:get "/studio"
    client:submit(page, { title = "First" }, "/studio/room")
    assert.equal(409, client:submit(page, { title = "Second" }, "/studio/room").status)
  end)

  it("refuses rates and tags that are none", function()
    local _, owner = people.model()
    local client = people.signed_in(owner)
    for field, value in pairs { rate = "10001", tags = "no!good", title = ("x"):rep(101) } do
      local page = client:submit(client:get "/studio", { [field] = value }, "/studio/room")
      assert.equal(422, page.status, field)
      assert.is_truthy(page.body:find('id="error-' .. field .. '"', 1, true), field)
    end
  end)
end)
