-- What makes the service, once: the image is built with --build-arg PROFILE=snowflake and pushed to the repository.
CREATE DATABASE IF NOT EXISTS mixkit;
CREATE IMAGE REPOSITORY IF NOT EXISTS mixkit.public.images;
CREATE STAGE IF NOT EXISTS mixkit.public.specifications;

CREATE COMPUTE POOL IF NOT EXISTS mixkit
  MIN_NODES = 1
  MAX_NODES = 1
  INSTANCE_FAMILY = CPU_X64_S;

-- PUT file://deploy/snowflake/service.yaml @mixkit.public.specifications AUTO_COMPRESS = FALSE OVERWRITE = TRUE;
CREATE SERVICE IF NOT EXISTS mixkit.public.mixkit
  IN COMPUTE POOL mixkit
  FROM @mixkit.public.specifications
  SPECIFICATION_FILE = 'service.yaml'
  MIN_INSTANCES = 1
  MAX_INSTANCES = 1;

GRANT SERVICE ROLE mixkit.public.mixkit!people TO ROLE analyst;
SHOW ENDPOINTS IN SERVICE mixkit.public.mixkit;
