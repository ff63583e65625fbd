-- Encoders and players that others wrote, over what people send: each kind of stream from ffmpeg and from
-- GStreamer's rtmp2sink, played by ffmpeg, rtmpdump and ffplay. Browsers' players: tests/browser/players.
local config = require "runtime.config"
local json = require "runtime.json"
local process = require "runtime.process"
local task = require "runtime.task"
local testing = require "footlight.testing"
local support = dofile(config.root .. "/tests/streaming/support.lua")

local PACKETS = 250 -- of each stream are decoded
local FRAMES = 10 -- at least, of picture and sound: a computer that is busy sends few
local kinds = {
  { name = "H.264 with AAC", width = 640, height = 360, fps = 25, sound = true },
  { name = "a picture without sound", width = 640, height = 360, fps = 25 },
  { name = "sound without a picture", sound = true },
  { name = "an odd, upright size", width = 406, height = 722, fps = 25, sound = true },
  { name = "60 frames a second", width = 426, height = 240, fps = 60, sound = true },
}

local function add(command, ...)
  for _, word in ipairs { ... } do command[#command + 1] = tostring(word) end
end

local encoders = {}

function encoders.ffmpeg(kind, address)
  local command = { "ffmpeg", "-nostdin", "-v", "error", "-re" }
  if kind.width then
    add(command, "-f", "lavfi", "-i", ("testsrc2=size=%dx%d:rate=%d"):format(kind.width, kind.height, kind.fps))
  end
  if kind.sound then add(command, "-f", "lavfi", "-i", "sine=440") end
  if kind.width then
    add(command, "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", kind.fps)
  end
  if kind.sound then add(command, "-c:a", "aac") end
  add(command, "-t", 110, "-f", "flv", address)
  return command
end

function encoders.gstreamer(kind, address)
  local command = { "gst-launch-1.0", "-q", "flvmux", "name=mux", "streamable=true", "!", "rtmp2sink", "location=" .. address }
  if kind.width then
    add(command, "videotestsrc", "is-live=true", "pattern=ball", "!",
      ("video/x-raw,width=%d,height=%d,framerate=%d/1"):format(kind.width, kind.height, kind.fps), "!", "x264enc",
      "tune=zerolatency", "speed-preset=ultrafast", "key-int-max=" .. kind.fps, "bitrate=500", "!", "queue", "!", "h264parse", "!", "mux.")
  end
  if kind.sound then
    add(command, "audiotestsrc", "is-live=true", "!", "audio/x-raw,rate=44100,channels=2", "!", "voaacenc", "!", "queue", "!", "aacparse",
      "!", "mux.")
  end
  return command
end

-- What ffprobe decodes of the first packets.
local function decoded(place)
  local outcome = assert(process.run { "ffprobe", "-v", "error", "-analyzeduration", "3000000", "-count_frames",
    "-read_intervals", "%+#" .. PACKETS, "-show_entries", "stream=codec_name,width,height,nb_read_frames", "-of", "json",
    place, limit = 60 })
  local ok, answer = pcall(json.decode, outcome.output)
  local found = {}
  for _, stream in ipairs(ok and answer.streams or {}) do
    -- nginx-rtmp's segments announce a picture and sound even if only one of them comes.
    stream.nb_read_frames = tonumber(stream.nb_read_frames)
    if stream.nb_read_frames then found[stream.codec_name] = stream end
  end
  return found
end

local players = {}

function players.ffmpeg_rtmp(model)
  return decoded(("%s/%s?t=%s"):format(config.get("rtmp.play_url"), model.slug, support.ticket(model)))
end

function players.ffmpeg_http_flv(model) return decoded(support.url("/media/flv/" .. support.ticket(model))) end

function players.ffmpeg_hls(model)
  local probe = "/media/hls/" .. support.ticket(model) .. "/index.m3u8"
  testing.wait_for(function() return support.get(probe).status == 200 end, 20, "the playlist")
  return decoded(support.url("/media/hls/" .. support.ticket(model) .. "/index.m3u8"))
end

function players.rtmpdump(model)
  local path = os.tmpname()
  process.run { "rtmpdump", "-q", "--live", "--stop", "5", "-o", path, "-r",
    ("%s/%s?t=%s"):format(config.get("rtmp.play_url"), model.slug, support.ticket(model)), limit = 20 }
  local found = decoded(path)
  os.remove(path)
  return found
end

-- ffplay, without a screen or a sound card: how far its clock went, in seconds. Live streams have no end
-- at which it would leave by itself, so it is ended; on a busy computer it may not have begun by then.
local function ffplay(model)
  local first, last
  for limit = 6, 24, 6 do
    local outcome = assert(process.run { "ffplay", "-nodisp", "-stats", "-analyzeduration", "1000000", limit = limit,
      ("%s/%s?t=%s"):format(config.get("rtmp.play_url"), model.slug, support.ticket(model)),
      environment = { "SDL_VIDEODRIVER=dummy", "SDL_AUDIODRIVER=dummy", "PATH=" .. os.getenv("PATH"), "HOME=/tmp" } })
    for clock in outcome.errors:gmatch("(%d+%.%d+) %a%-%a:") do
      first, last = first or tonumber(clock), tonumber(clock)
    end
    if first and last - first >= 1 then return last - first end
    first = nil
  end
  return 0
end

local function check(kind, who, found)
  local about = who .. ": " .. json.encode(found)
  local picture, sound = found.h264, found.aac
  assert.equal(kind.width ~= nil, picture ~= nil, about)
  assert.equal(kind.sound == true, sound ~= nil, about)
  if picture then
    assert.equal(kind.width, picture.width, about)
    assert.equal(kind.height, picture.height, about)
    assert.is_true(picture.nb_read_frames >= FRAMES, about)
  end
  if sound then assert.is_true(sound.nb_read_frames >= FRAMES, about) end
end

for encoder, command in pairs(encoders) do
  describe(encoder .. " sends", function()
    for _, kind in ipairs(kinds) do
      it(kind.name .. ", and every player decodes it", function()
        local model = support.model(0)
        local run = command(kind, support.publish_address(model.key))
        run.limit = 120
        local publisher <close> = support.publish(model, run)
        local running = {}
        for name, play in pairs(players) do running[name] = task.spawn(play, model) end
        -- Without a screen its clock is the sound's.
        local heard = kind.sound and task.spawn(ffplay, model)
        for name, player in pairs(running) do check(kind, name, player:wait(80)) end
        local went = heard and heard:wait(80) or 1
        assert.is_true(went >= 1, ("ffplay's clock went for %.1f s"):format(went))
        publisher:stop()
      end)
    end
  end)
end
