-- The studio's page of recordings: to whom they belong, what is kept and what goes.
local config = require "runtime.config"
local db = require "runtime.db"
local events_job = require "jobs.broadcasts"
local file = require "runtime.file"
local job = require "jobs.recordings"
local outbox_job = require "jobs.outbox"
local people = dofile(config.root .. "/tests/site/people.lua")
local recordings = require "store.recordings"
local redis = require "runtime.redis"
local task = require "runtime.task"

local function path_of(name, ending) return ("%s/%s.%s"):format(config.get "media.recordings", name, ending) end

local count = 0
local function recorded(model)
  count = count + 1
  local name = ("%s-%d"):format(model.slug, os.time() * 100 + count)
  assert(file.write(path_of(name, "mp4"), "spec"))
  assert.is_true(recordings.add { name = name, slug = model.slug, bytes = 4, at = task.now_ms() })
  local row = recordings.by_name(name)
  recordings.done { id = row.id, state = "ready", seconds = 65, bytes = 4096 }
  return recordings.by_id(row.id)
end

describe("recordings", function()
  it("are wanted or not by the model's word, which the projection carries", function()
    local model, owner = people.model()
    local studio = people.signed_in(owner)
    local page = studio:get "/studio/recordings"
    assert.is_true(page:has "Nothing is recorded")
    assert.equal(200, studio:submit(page, { record = "yes" }, "/studio/recordings/wanted").status)
    while outbox_job.step("spec") > 0 do end
    assert.equal("1", redis.call("HGET", "p:model:" .. model.slug, "record"))
    local on = studio:get "/studio/recordings"
    assert.is_true(on:has "Your broadcasts are recorded")
    studio:submit(on, { record = "no" }, "/studio/recordings/wanted")
    assert.is_false(recordings.wanted(model.id))
    assert.equal(400, studio:submit(page, { record = "perhaps" }, "/studio/recordings/wanted").status)
  end)

  it("are seen, watched and deleted by their owner and by nobody else", function()
    local model, owner = people.model()
    local _, other = people.model()
    local row = recorded(model)
    local studio, stranger = people.signed_in(owner), people.signed_in(other)
    local page = studio:get "/studio/recordings"
    assert.is_true(page:has "1:05 min")
    local address = "/studio/recordings/" .. row.id
    local video = studio:get(address .. "/video")
    assert.equal("/recordings/" .. row.name .. ".mp4", video.headers["x-accel-redirect"])
    assert.equal("private, no-store", video.headers["cache-control"])
    assert.equal(404, stranger:get(address .. "/video").status)
    assert.is_false(stranger:get("/studio/recordings"):has "1:05 min")
    local token = stranger:get("/studio/recordings"):form("/wanted").fields.csrf_token
    assert.equal(404, stranger:request("POST", address .. "/delete", { form = { csrf_token = token } }).status)
    assert.equal(404, people.signed_in(people.account()):get("/studio/recordings").status)
    assert.truthy(file.stat(path_of(row.name, "mp4")))
    assert.equal(200, studio:submit(page, {}, address .. "/delete").status)
    assert.is_nil(recordings.by_id(row.id))
    assert.is_nil(file.stat(path_of(row.name, "mp4")))
    assert.equal(404, studio:get(address .. "/video").status)
  end)

  it("come by nginx's word once, whatever it says in between", function()
    local model = people.model()
    local name = model.slug .. "-" .. os.time()
    for _, path in ipairs { path_of(name, "flv"), path_of(name, "flv"), "/etc/passwd", path_of("../../x", "flv") } do
      redis.call("XADD", "events", "*", "type", "recorded", "slug", model.slug, "path", path, "at", tostring(task.now_ms()))
    end
    while events_job.step() > 0 do end
    local list = recordings.of_model(model.id)
    assert.equal(1, #list)
    assert.equal(name, list[1].name)
    recordings.delete(list[1].id)
  end)

  it("go when they are old, and leave no file behind", function()
    local model = people.model()
    local old, new = recorded(model), recorded(model)
    db.exec("UPDATE recordings SET ended_at = UTC_TIMESTAMP(6) - INTERVAL ? DAY WHERE id = ?",
      config.get "media.recordings_days" + 1, old.id)
    job.step()
    assert.is_nil(recordings.by_id(old.id))
    assert.is_nil(file.stat(path_of(old.name, "mp4")))
    assert.truthy(recordings.by_id(new.id))
    assert.truthy(file.stat(path_of(new.name, "mp4")))
    job.remove(new)
  end)

  it("that cannot be made playable say so", function()
    local model, owner = people.model()
    local name = model.slug .. "-" .. os.time()
    assert(file.write(path_of(name, "flv"), "no film"))
    recordings.add { name = name, slug = model.slug, bytes = 7, at = task.now_ms() }
    local testing = require "footlight.testing"
    testing.expect_log("recordings.not_converted")
    job.step()
    assert.equal("failed", recordings.by_name(name).state)
    assert.is_true(people.signed_in(owner):get("/studio/recordings"):has "could not be made playable")
    job.remove(recordings.by_name(name))
  end)
end)
