--- What templates/partials/forms.html needs: values and errors by field, and the errors in a list.
local forms = {}

-- Never sent back to the browser, whatever was typed.
local secret = { password = true, current = true }

--- A form that nobody has sent yet, with the values that it begins with.
function forms.fresh(values)
  return { values = values or {}, errors = {}, error_list = {} }
end

--- A form that comes back with errors: those of footlight.form, or { name = text } made by hand.
-- A name of "" is an error of the whole form.
function forms.failed(values, errors)
  local shown, by_name = {}, {}
  for name, value in pairs(values or {}) do
    if not secret[name] then shown[name] = value end
  end
  local list = errors.list
  if not list then
    list = {}
    for name, text in pairs(errors) do list[#list + 1] = { name = name, text = text } end
    table.sort(list, function(a, b) return a.name < b.name end)
  end
  for _, item in ipairs(list) do by_name[item.name] = by_name[item.name] or item.text end
  return { values = shown, errors = by_name, error_list = list }
end

return forms
