-- "hellooooooooooo" says no more than "hellooo": runs of one character are cut to three.
local MOST = 3

return function(message)
  local out, last, run = {}, nil, 0
  for _, code in utf8.codes(message.text) do
    if code == last then run = run + 1 else last, run = code, 1 end
    if run <= MOST then out[#out + 1] = utf8.char(code) end
  end
  local text = table.concat(out)
  if text ~= message.text then return { verdict = "change", text = text } end
end
