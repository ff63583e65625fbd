-- Who a performer is by law. Sealed before it gets here (secrets.seal): the database alone tells
-- nothing. Later verifications add rows; the newest one counts.

CREATE TABLE identity_records (
    id             BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    model_id       BIGINT UNSIGNED NOT NULL,
    legal_name_enc VARCHAR(1000) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    born_enc       VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    verified_by    BIGINT UNSIGNED NULL,
    verified_at    DATETIME(6) NULL,
    retain_until   DATETIME(6) NULL,
    created_at     DATETIME(6) NOT NULL DEFAULT UTC_TIMESTAMP(6),
    INDEX (model_id, id),
    FOREIGN KEY (model_id) REFERENCES model_profiles (id),
    FOREIGN KEY (verified_by) REFERENCES accounts (id),
    CHECK ((verified_by IS NULL) = (verified_at IS NULL))
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_520_ci;
