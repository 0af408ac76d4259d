// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.access

import scala.util.Try

import io.sparkmodel.call.ModelAnalysisException
import org.apache.spark.SparkEnv

/**
 * Who may make models, and from where.
 *
 * The settings are the application's: an analyst's SET does not change them.
 */
object Access {
  val Ddl = "spark.sparkmodel.ddl.enabled"
  val Locations = "spark.sparkmodel.allowedLocations"
  val InlineCode = "spark.sparkmodel.allowInlineCode"
  private val Bringing = Seq("runtime_env", "extra_env")

  /** Refuse a statement that changes models where sessions are shared with people who only call them. */
  def checkDdl(verb: String, name: String): Unit = if (!allowsDdl)
    throw ModelAnalysisException(
      "DDL_NOT_ALLOWED", s"Cannot $verb model '$name'", "this Spark application allows no model DDL",
      s"ask its operator, who can start it with $Ddl=true")

  def checkLocation(verb: String, name: String, using: Option[String], location: String): Unit =
    if (roots.nonEmpty) {
      val wanted = using.filter(Seq("table", "python").contains).filterNot(kind => location.startsWith(s"$kind:"))
        .fold(location)(kind => s"$kind:$location")
      def refuse(fact: String, hint: String) =
        throw ModelAnalysisException("LOCATION_NOT_ALLOWED", s"Cannot $verb model '$name' from '$location'", fact, hint)
      if (Places.isWayward(wanted))
        refuse("the way there has '..', or is not told from the root", "write where it is, without detours")
      if (!roots.exists(Places.covers(_, wanted)))
        refuse(
          s"models may come from $allowed only",
          s"put it there, or ask the operator for more in $Locations")
    }

  /** Refuse options that could bring code from elsewhere, by files or by a variable such as PYTHONPATH. */
  def checkOptions(verb: String, name: String, keys: Seq[String]): Unit = if (roots.nonEmpty)
    keys.find(key => Bringing.contains(key.takeWhile(_ != '.').toLowerCase)).foreach { key =>
      throw ModelAnalysisException(
        "LOCATION_NOT_ALLOWED", s"Cannot $verb model '$name' with option '$key'",
        s"it can bring code, which may come from $allowed only", "leave it out, or ask the operator")
    }

  def checkInlineCode(name: String): Unit = if (!setting(InlineCode).exists(isTrue))
    throw ModelAnalysisException(
      "INLINE_CODE_NOT_ALLOWED", s"Cannot create model '$name'", "this Spark application takes no source code in SQL",
      s"name an import path with USING python LOCATION, or ask its operator for $InlineCode=true")

  /**
   * Refuse a catalog that a session has set up for itself where not all may make models: a call of one of its models
   * deploys what its settings say.
   */
  def checkCatalog(catalog: String, settings: Map[String, String]): Unit = if (!allowsDdl || roots.nonEmpty) {
    val prefix = s"spark.sql.catalog.$catalog"
    def lower(all: Iterable[(String, String)]) = all.map { case (key, value) => key.toLowerCase -> value }.toMap
    val applications = Option(SparkEnv.get).toSeq.flatMap(_.conf.getAllWithPrefix(s"$prefix."))
    if (setting(prefix).isEmpty || lower(applications) != lower(settings))
      throw ModelAnalysisException(
        "DDL_NOT_ALLOWED", s"Cannot use catalog '$catalog'", "its settings are this session's, not the application's",
        s"ask the operator, who can start the application with $prefix")
  }

  private def allowsDdl: Boolean = setting(Ddl).fold(!isThriftServer)(isTrue)

  private def roots: Seq[String] = setting(Locations).toSeq.flatMap(_.split(',')).map(_.trim).filter(_.nonEmpty)

  private def allowed: String = roots.mkString("['", "', '", "']")

  private def setting(key: String): Option[String] = Option(SparkEnv.get).flatMap(_.conf.getOption(key))

  private def isTrue(value: String): Boolean = value.trim.equalsIgnoreCase("true")

  // also one that a program started with startWithContext; its classes are not on every class path
  private def isThriftServer: Boolean =
    sys.props.get("sun.java.command").exists(_.contains("HiveThriftServer2")) || Try {
      val server = Class.forName("org.apache.spark.sql.hive.thriftserver.HiveThriftServer2$").getField("MODULE$").get(null)
      server.getClass.getMethod("listener").invoke(server) != null
    }.getOrElse(false)
}
