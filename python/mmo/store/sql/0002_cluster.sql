-- What servers leave for each other: leases, grants, cache repair, the code generation.

CREATE TABLE node_lease (
    number      INT         NOT NULL,
    role        VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    name        VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    incarnation BIGINT      NOT NULL,
    host        VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    client_port INT         NOT NULL,
    link_host   VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    link_port   INT         NOT NULL,
    until_ms    BIGINT      NOT NULL,
    PRIMARY KEY (number)
) ENGINE = InnoDB;

-- One row, one counter: every process start in the cluster takes the next number.
CREATE TABLE incarnation (
    id   TINYINT NOT NULL,
    next BIGINT  NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB;

INSERT INTO incarnation (id, next) VALUES (1, 1);

CREATE TABLE reward_grant (
    user_id         BIGINT NOT NULL,
    source_kind     INT    NOT NULL,
    source_id       BIGINT NOT NULL,
    bundle          BLOB   NOT NULL,
    created_ms      BIGINT NOT NULL,
    claimed_version BIGINT NULL,
    PRIMARY KEY (user_id, source_kind, source_id),
    KEY unclaimed (user_id, claimed_version)
) ENGINE = InnoDB;

-- A player whose snapshot in Redis may be older than his head; the relay repairs and removes it.
CREATE TABLE cache_dirty (
    user_id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    since_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id)
) ENGINE = InnoDB;

CREATE TABLE code_generation (
    id         TINYINT NOT NULL,
    generation BIGINT  NOT NULL,
    switched_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
) ENGINE = InnoDB;

INSERT INTO code_generation (id, generation, switched_ms) VALUES (1, 1, 0);
