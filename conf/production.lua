-- For a site that people pay on. site.url, mail.smtp and the places of the servers belong into the
-- site's own file.
return {
  site = { checkout = "none" },
  drain_seconds = 30,
  mariadb = { pool = 20 },
}
