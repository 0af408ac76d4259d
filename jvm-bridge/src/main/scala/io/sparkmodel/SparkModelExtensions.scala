// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel

import io.sparkmodel.call.{CheckCalls, FillArguments}
import io.sparkmodel.commands.{CheckStatements, ModelCommand}
import io.sparkmodel.exec.{ModelScoreStrategy, ScoreColumns}
import io.sparkmodel.models.{MlPredict, ModelNames, ResolvePredictTable}
import io.sparkmodel.parse.ModelParser
import io.sparkmodel.plan.{InputFiles, ScoreOnce}
import org.apache.spark.SparkContext
import org.apache.spark.sql.SparkSessionExtensions
import org.apache.spark.sql.catalyst.FunctionIdentifier
import org.apache.spark.sql.catalyst.expressions.ExpressionInfo

/** What `spark.sql.extensions` names: puts the bridge into a session, if the jar is built for its Spark. */
class SparkModelExtensions extends (SparkSessionExtensions => Unit) {
  override def apply(extensions: SparkSessionExtensions): Unit =
    if (BridgeVersion.check()) {
      ship()
      Injections.inject(extensions)
    }

  // With spark.jars Spark does it by itself. But a session that sets spark.jars from Python loses what
  // spark.jars.packages brings to executors, so configure_spark sets the driver's class path.
  private def ship(): Unit = {
    val context = SparkContext.getOrCreate()
    val jar = getClass.getProtectionDomain.getCodeSource.getLocation.toURI
    val name = jar.getPath.split('/').last
    if (!context.isLocal && !context.listJars().exists(_.endsWith(s"/$name"))) context.addJar(jar.toString)
  }
}

/** An object of its own: with another Spark its classes could not even be loaded. */
private object Injections {

  /** All that the bridge puts into a session. */
  def inject(extensions: SparkSessionExtensions): Unit = {
    extensions.injectParser((_, delegate) => ModelParser(delegate, ModelCommand.of))
    extensions.injectHintResolutionRule(new ModelNames(_))
    extensions.injectResolutionRule(_ => FillArguments)
    extensions.injectResolutionRule(_ => ResolvePredictTable)
    extensions.injectPostHocResolutionRule(_ => CheckCalls)
    extensions.injectPostHocResolutionRule(_ => CheckStatements)
    extensions.injectFunction((
      FunctionIdentifier(MlPredict.Name),
      new ExpressionInfo(MlPredict.getClass.getName, null, MlPredict.Name),
      MlPredict))
    extensions.injectPreCBORule(_ => InputFiles)
    extensions.injectPreCBORule(_ => ScoreOnce)
    extensions.injectPlannerStrategy(_ => ModelScoreStrategy)
    extensions.injectColumnar(_ => ScoreColumns)
    val settings = SparkContext.getOrCreate().getConf
    val handles = settings.getOption(Models.Setting).orElse(sys.env.get(Models.Variable))
    Models.functions(handles).foreach { case (name, builder) =>
      val info = new ExpressionInfo(classOf[SparkModelExtensions].getName, null, name)
      extensions.injectFunction((FunctionIdentifier(name), info, builder))
    }
  }
}
