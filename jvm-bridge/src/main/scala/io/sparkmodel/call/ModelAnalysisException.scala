// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.call

import io.sparkmodel.wire.ModelException
import org.apache.commons.text.similarity.JaroWinklerSimilarity
import org.apache.spark.sql.AnalysisException
import org.apache.spark.sql.catalyst.trees.Origin
import org.slf4j.LoggerFactory

/** An error of ours as Spark's kind: what SQL users, Python and JDBC clients know how to show. */
class ModelAnalysisException(condition: String, message: String, cause: Option[Throwable] = None)
  extends AnalysisException(
    message, None, None, cause, Some(condition), Map.empty[String, String], Array.empty) {

  override def getSqlState: String = SqlStates.of(condition)

  // the place of an analyst's error is in the statement; Spark's Thrift server would print it
  override def fillInStackTrace(): Throwable = this

  // the place would come with a query context, for which PySpark looks our condition up among Spark's own
  override def withPosition(origin: Origin): AnalysisException = this
}

object ModelAnalysisException {
  private val log = LoggerFactory.getLogger("io.sparkmodel.call")
  private val similarity = new JaroWinklerSimilarity
  private val Alike = 0.7

  def apply(condition: String, what: String, fact: String, hint: String = ""): ModelAnalysisException =
    from(new ModelException(condition, what, fact, hint))

  /** The error in one line; what else is known, such as a model's traceback, goes to the log. */
  def from(error: ModelException): ModelAnalysisException = {
    if (error.details.nonEmpty) log.warn(error.getMessage)
    val line = new ModelException(error.condition, error.what, error.fact, error.hint).getMessage
    new ModelAnalysisException(error.condition, line)
  }

  /** A hint that names the nearest known name; where none is near, all of them, or what to do otherwise. */
  def suggest(name: String, known: Seq[String], otherwise: Option[String] = None): String = {
    val all = known.distinct.sorted
    def likeness(other: String): Double = similarity.apply(name.toLowerCase, other.toLowerCase)
    if (all.isEmpty) "there are none yet"
    else {
      val near = all.maxBy(likeness)
      val list = all.mkString("['", "', '", "']")
      if (likeness(near) >= Alike) s"did you mean '$near'? Known are $list" else otherwise.getOrElse(s"known are $list")
    }
  }
}

/** The SQLSTATE of each condition, as the SQL standard groups them. */
object SqlStates {
  private val states = Map(
    "AUTHENTICATION_FAILED" -> "28000",
    "CONTROL_TIMEOUT" -> "57014",
    "CONTROL_UNAVAILABLE" -> "08001",
    "DDL_NOT_ALLOWED" -> "42501",
    "INLINE_CODE_NOT_ALLOWED" -> "42501",
    "INPUTS_CHANGED" -> "42804",
    "INVALID_NAME" -> "42602",
    "INVALID_OPTION" -> "22023",
    "LOCATION_NOT_ALLOWED" -> "42501",
    "MODEL_IN_USE" -> "55006",
    "MODEL_NOT_FOUND" -> "42704",
    "NAME_TAKEN" -> "42710",
    "NO_PREVIOUS_VERSION" -> "55000",
    "OPERATION_CANCELED" -> "HY008",
    "POOL_GONE" -> "08003",
    "POOL_NOT_PLACED" -> "53000",
    "POOL_NOT_READY" -> "57014",
    "RAY_UNAVAILABLE" -> "08001",
    "RESULT_TYPE_CHANGED" -> "42804",
    "RESULT_TYPE_UNKNOWN" -> "42804",
    "REVISION_CHANGED" -> "40001",
    "SCHEMA_MISMATCH" -> "42804",
    "UNSUPPORTED_SOURCE" -> "0A000",
    "UNSUPPORTED_TYPE" -> "0A000",
    "UNTRUSTED_MODEL_FILE" -> "42501",
    "VERSION_RETIRED" -> "55000")

  /** 38000, an error of what is called from SQL, for all others. */
  def of(condition: String): String = states.getOrElse(condition, "38000")
}
