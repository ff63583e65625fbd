-- Recordings that a model keeps of her public broadcasts; the files lie in media.recordings.

ALTER TABLE room_settings ADD COLUMN record BOOLEAN NOT NULL DEFAULT FALSE AFTER away;

CREATE TABLE recordings (
    id         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    model_id   BIGINT UNSIGNED NOT NULL,
    -- The file's name without its ending: .flv while it is raw, .mp4 once it is ready.
    name       VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    state      ENUM ('raw', 'ready', 'failed') NOT NULL DEFAULT 'raw',
    seconds    INT UNSIGNED NOT NULL DEFAULT 0,
    bytes      BIGINT UNSIGNED NOT NULL DEFAULT 0,
    ended_at   DATETIME(6) NOT NULL,
    INDEX (model_id, id),
    INDEX (state),
    INDEX (ended_at),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;
