--- The headers that every response carries.
local security = {}

local denied = {
  "accelerometer", "browsing-topics", "display-capture",
  "encrypted-media", "geolocation", "gyroscope", "hid", "idle-detection", "magnetometer", "midi",
  "payment", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking",
}

local function policy(camera)
  local parts = {}
  for i, feature in ipairs(denied) do parts[i] = feature .. "=()" end
  local who = camera and "(self)" or "()"
  parts[#parts + 1] = "camera=" .. who
  parts[#parts + 1] = "microphone=" .. who
  for _, feature in ipairs { "autoplay", "fullscreen", "picture-in-picture" } do
    parts[#parts + 1] = feature .. "=(self)"
  end
  return table.concat(parts, ", ")
end

local with_camera, without_camera = policy(true), policy(false)

--- The Content-Security-Policy. `targets` are other origins that forms may lead to (payment pages).
function security.content_policy(targets)
  local action = "form-action 'self'" .. (targets and " " .. targets or "")
  return table.concat({
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:",
    "media-src 'self' blob:", "connect-src 'self'", "worker-src 'self'", "manifest-src 'self'",
    "font-src 'self'", action, "frame-ancestors 'none'", "base-uri 'none'",
  }, "; ")
end

--- Adds what the response does not say itself. options: csp, camera, cache, secure, id.
function security.headers(headers, options)
  local function default(name, value)
    if headers[name] == nil then headers[name] = value end
  end
  default("Content-Security-Policy", options.csp)
  default("X-Content-Type-Options", "nosniff")
  default("Referrer-Policy", "same-origin")
  default("Permissions-Policy", options.camera and with_camera or without_camera)
  default("Cross-Origin-Opener-Policy", "same-origin")
  default("Cross-Origin-Resource-Policy", "same-origin")
  default("X-Frame-Options", "DENY")
  default("Cache-Control", options.cache or "private, no-store")
  if options.secure then
    default("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
  end
  return headers
end

return security
