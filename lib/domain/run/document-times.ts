/** What the steps of an SSM document may take before the one that runs the agent. */

/** Of the step that looks whether the agent is installed. */
export const FIND_AGENT_SECONDS = 60;

/**
 * Of each download. aws:downloadContent has no time-out to give (its inputs in
 * https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-command-ssm-plugin-reference.html, and
 * `DownloadContentPlugin` in amazon-ssm-agent), so what SSM allows any step counts: an hour.
 */
export const DOWNLOAD_SECONDS = 3600;

/** One for each architecture: no precondition of SSM knows them. */
export const DOWNLOADS = 2;
