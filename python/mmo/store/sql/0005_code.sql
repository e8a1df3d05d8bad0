-- Which rules and tables decide: the sources themselves, the one row that switches, and what was.

ALTER TABLE code_generation
    ADD COLUMN bundle        CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
    ADD COLUMN rolling_from  BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN canary        BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN canary_number INT    NOT NULL DEFAULT 0;

CREATE TABLE code_bundle (
    hash       CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    packed     MEDIUMBLOB NOT NULL,
    created_ms BIGINT     NOT NULL,
    PRIMARY KEY (hash)
) ENGINE = InnoDB;

-- One line for every generation there ever was: a number never names two codes.
CREATE TABLE code_record (
    generation  BIGINT NOT NULL,
    bundle      CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    replaced    BIGINT NOT NULL,
    state       VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    who         VARCHAR(64)  NOT NULL,
    note        VARCHAR(255) NOT NULL,
    switched_ms BIGINT NOT NULL,
    PRIMARY KEY (generation)
) ENGINE = InnoDB;
