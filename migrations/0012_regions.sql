-- Whence a room may not be seen.
ALTER TABLE room_settings
    ADD COLUMN blocked_countries VARCHAR(1000) CHARACTER SET ascii NOT NULL DEFAULT '' AFTER record, -- "AT DE"
    ADD COLUMN blocked_networks  VARCHAR(4000) CHARACTER SET ascii NOT NULL DEFAULT '' AFTER blocked_countries;
