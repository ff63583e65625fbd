---@meta footlight.app
--- The application: the exports of the web service, made of pages.
local app = {}

---@class App.Options
---@field pages (string|fun(site: Router)|table)[] modules that return function(site)
---@field context? fun(req: Request): table variables of every template, asked for once a request
---@field account? fun(id: integer, session: table): table? who a session belongs to; default: store.accounts.by_id, active only
---@field errors? string template of error pages, default "errors/page"
---@field login? string path of the sign-in page, default "/login"
---@field development? boolean error pages with source lines; default: the setting `environment`

---@class App.Exports
---@field app table the application, with its `router`
---@field on_request fun(req: Request): table
---@field check fun() compiles every template and loads the catalogues; raises with what is wrong

--- Makes the exports of the web service.
---@param options App.Options
---@return App.Exports
function app.new(options) end

return app
